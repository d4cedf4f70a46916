BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE "jobs" (
	id VARCHAR(255) NOT NULL, 
	run_id VARCHAR(255), 
	model VARCHAR(255) NOT NULL, 
	payload JSON NOT NULL, 
	priority INTEGER NOT NULL, 
	eta DATETIME, 
	expires_at DATETIME, 
	enqueued_at DATETIME NOT NULL, 
	due_at DATETIME NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('done',NULL,'scripted','{"text":"labelled before"}',0,NULL,NULL,'2026-11-28 00:38:12.690685','2026-11-28 00:38:12.690685');
INSERT INTO "jobs" VALUES('failed',NULL,'scripted','{"text":"raise-in-prepare"}',0,NULL,NULL,'2026-11-28 00:38:12.699811','2026-11-28 00:38:12.699811');
INSERT INTO "jobs" VALUES('a','csv','scripted','{"text":"first","run":"csv"}',0,NULL,NULL,'2026-11-28 00:38:13.855770','2026-11-28 00:38:13.855770');
INSERT INTO "jobs" VALUES('b','csv','scripted','{"text":"second","run":"csv"}',0,NULL,NULL,'2026-11-28 00:38:13.855770','2026-11-28 00:38:13.855770');
INSERT INTO "jobs" VALUES('c','csv','scripted','{"text":"third","run":"csv"}',0,NULL,NULL,'2026-11-28 00:38:13.855770','2026-11-28 00:38:13.855770');
INSERT INTO "jobs" VALUES('leased',NULL,'scripted','{"text":"leased before"}',0,NULL,NULL,'2026-11-28 00:38:15.356908','2026-11-28 00:38:15.356908');
INSERT INTO "jobs" VALUES('delayed',NULL,'scripted','{"text":"delayed before"}',0,'2026-11-28 00:38:16.350831',NULL,'2026-11-28 00:38:15.358374','2026-11-28 00:38:16.350831');
INSERT INTO "jobs" VALUES('buried',NULL,'scripted','{"text":"buried before"}',0,NULL,NULL,'2026-11-28 00:38:15.360585','2026-11-28 00:38:15.360585');
INSERT INTO "jobs" VALUES('waiting','client','scripted','{"text":"waits before","run":"client","options":{"top_k":1}}',0,NULL,NULL,'2026-11-28 00:38:15.364620','2026-11-28 00:38:15.364620');
INSERT INTO "jobs" VALUES('last',NULL,'scripted','{"text":"urgent no more"}',9,NULL,NULL,'2026-11-28 00:38:15.365718','2026-11-28 00:38:15.365718');
INSERT INTO "jobs" VALUES('expired',NULL,'scripted','{"text":"too late"}',0,NULL,'2026-11-28 00:38:15.350831','2026-11-28 00:38:15.367194','2026-11-28 00:38:15.367194');
INSERT INTO "jobs" VALUES('odd',NULL,'scripted','{"text":"a lone � surrogate and ünïcode"}',0,NULL,NULL,'2026-11-28 00:38:15.368183','2026-11-28 00:38:15.368183');
INSERT INTO "jobs" VALUES('of-run','many','scripted','{"text":"of a run","run":"many"}',0,NULL,NULL,'2026-11-28 00:38:15.371618','2026-11-28 00:38:15.371618');
INSERT INTO "jobs" VALUES('inline-image',NULL,'scripted','{"image":{"base64":"iVBORyBub3QgcXVpdGU=","name":"x.png"}}',0,NULL,NULL,'2026-11-28 00:38:15.377074','2026-11-28 00:38:15.377074');
INSERT INTO "jobs" VALUES('image-uri',NULL,'scripted','{"image":{"uri":"https://example.org/a.jpg"}}',0,NULL,NULL,'2026-11-28 00:38:15.378443','2026-11-28 00:38:15.378443');
INSERT INTO "jobs" VALUES('lost',NULL,'scripted','{"text":"lost before"}',0,NULL,NULL,'2026-11-28 00:38:15.479045','2026-11-28 00:38:15.479045');
CREATE TABLE results (
	id VARCHAR(255) NOT NULL, 
	run_id VARCHAR(255), 
	model VARCHAR(255) NOT NULL, 
	checkpoint TEXT, 
	revision TEXT, 
	status VARCHAR(16) NOT NULL, 
	label TEXT, 
	score DOUBLE, 
	scores JSON, 
	error_code TEXT, 
	error_message TEXT, 
	attempt INTEGER NOT NULL, 
	group_size INTEGER NOT NULL, 
	worker VARCHAR(255) NOT NULL, 
	enqueued_at DATETIME, 
	started_at DATETIME NOT NULL, 
	finished_at DATETIME NOT NULL, 
	CONSTRAINT pk_results PRIMARY KEY (id), 
	CONSTRAINT ck_results_status CHECK (status IN ('succeeded', 'failed'))
);
INSERT INTO "results" VALUES('done',NULL,'scripted','.',NULL,'succeeded','labelled before',1.0,'[{"label":"labelled before","score":1.0}]',NULL,NULL,1,1,'w1@test','2026-11-28 00:38:12.690685','2026-11-28 00:38:12.696038','2026-11-28 00:38:12.696678');
INSERT INTO "results" VALUES('failed',NULL,'scripted','.',NULL,'failed',NULL,NULL,NULL,'model_failed','the model raised ValueError for this job alone; the worker''s log says where',1,0,'w1@test','2026-11-28 00:38:12.699811','2026-11-28 00:38:12.700025','2026-11-28 00:38:12.700429');
INSERT INTO "results" VALUES('a','csv','scripted','.',NULL,'succeeded','first',1.0,'[{"label":"first","score":1.0}]',NULL,NULL,1,3,'w1@test','2026-11-28 00:38:13.855770','2026-11-28 00:38:13.867046','2026-11-28 00:38:13.867569');
INSERT INTO "results" VALUES('b','csv','scripted','.',NULL,'succeeded','second',1.0,'[{"label":"second","score":1.0}]',NULL,NULL,1,3,'w1@test','2026-11-28 00:38:13.855770','2026-11-28 00:38:13.867046','2026-11-28 00:38:13.867569');
INSERT INTO "results" VALUES('c','csv','scripted','.',NULL,'succeeded','third',1.0,'[{"label":"third","score":1.0}]',NULL,NULL,1,3,'w1@test','2026-11-28 00:38:13.855770','2026-11-28 00:38:13.867046','2026-11-28 00:38:13.867569');
CREATE TABLE runs (
	id VARCHAR(255) NOT NULL, 
	model VARCHAR(255) NOT NULL, 
	source TEXT NOT NULL, 
	submitted INTEGER NOT NULL, 
	created_at DATETIME NOT NULL, 
	finished_at DATETIME, "plan" JSON, rejected INTEGER DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_runs PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('csv','scripted','{folder}/messages.csv',3,'2026-11-28 00:38:13.831117','2026-11-28 00:38:13.880107','{"version":1,"sources":["{folder}/messages.csv"],"form":{"name":null,"delimiter":null,"encoding":null,"split":null},"chosen":{"content":"body","kind":"text","id":"id","guessed":false},"inline":false,"upload":false,"top_k":null,"fingerprints":["1795826292689316492:33:97695b817f952b73485466a479fe1fcf"],"secret":false}',0);
INSERT INTO "runs" VALUES('many','scripted','client',1,'2026-11-28 00:38:15.369607','2026-11-28 00:38:15.376005',NULL,0);
CREATE TABLE tokens (
	id VARCHAR(255) NOT NULL, 
	name TEXT NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	scopes TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	revoked_at DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (id)
);
INSERT INTO "tokens" VALUES('01a21f96-a0ca-75fe-b2ce-38efd98c3ae6','before','6821ad4bd21d9801116ebc7cc2fe00b861f10ec8122ca91a583189b0946eaf33','read submit','2026-11-28 00:38:14.986098',NULL);
CREATE INDEX ix_runs_created_at_id ON runs (created_at, id);
CREATE INDEX ix_results_run_id_finished_at_id_status ON results (run_id, finished_at, id, status) WHERE run_id IS NOT NULL;
CREATE INDEX ix_results_model_finished_at_id ON results (model, finished_at, id);
CREATE INDEX ix_results_finished_at_id ON results (finished_at, id);
CREATE INDEX ix_jobs_run_id ON jobs (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX ix_jobs_model_priority_due_at_id ON jobs (model, priority, due_at, id);
CREATE UNIQUE INDEX ix_tokens_hash ON tokens (hash);
COMMIT;

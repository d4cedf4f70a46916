"""The first tables: runs, jobs, results.

Revision: 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Scores = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_Moment = sa.DateTime(timezone=True)
_OF_A_RUN = sa.text("run_id IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("submitted", sa.Integer(), nullable=False),
        sa.Column("created_at", _Moment, nullable=False),
        sa.Column("finished_at", _Moment, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
    )
    op.create_index("ix_runs_created_at_id", "runs", ["created_at", "id"])

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=True),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("eta", _Moment, nullable=True),
        sa.Column("expires_at", _Moment, nullable=True),
        sa.Column("enqueued_at", _Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index(
        "ix_jobs_run_id",
        "jobs",
        ["run_id"],
        postgresql_where=_OF_A_RUN,
        sqlite_where=_OF_A_RUN,
    )
    op.create_index("ix_jobs_enqueued_at_id", "jobs", ["enqueued_at", "id"])

    op.create_table(
        "results",
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("run_id", sa.String(255), nullable=True),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("scores", _Scores, nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("group_size", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("enqueued_at", _Moment, nullable=True),
        sa.Column("started_at", _Moment, nullable=False),
        sa.Column("finished_at", _Moment, nullable=False),
        sa.CheckConstraint("status IN ('succeeded', 'failed')", name=op.f("ck_results_status")),
        sa.PrimaryKeyConstraint("id", name="pk_results"),
    )
    op.create_index(
        "ix_results_run_id_finished_at_id_status",
        "results",
        ["run_id", "finished_at", "id", "status"],
        postgresql_where=_OF_A_RUN,
        sqlite_where=_OF_A_RUN,
    )
    op.create_index("ix_results_model_finished_at_id", "results", ["model", "finished_at", "id"])
    op.create_index("ix_results_finished_at_id", "results", ["finished_at", "id"])


def downgrade() -> None:
    op.drop_table("results")
    op.drop_table("jobs")
    op.drop_table("runs")

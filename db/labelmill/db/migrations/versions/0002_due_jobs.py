"""When each job of the ledger is due, so that a job that was lost can be sent again.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE jobs SET due_at = CASE WHEN eta > enqueued_at THEN eta ELSE enqueued_at END")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("due_at", existing_type=sa.DateTime(timezone=True), nullable=False)
    op.drop_index("ix_jobs_enqueued_at_id", "jobs")
    op.create_index(
        "ix_jobs_model_priority_due_at_id", "jobs", ["model", "priority", "due_at", "id"]
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_model_priority_due_at_id", "jobs")
    op.create_index("ix_jobs_enqueued_at_id", "jobs", ["enqueued_at", "id"])
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("due_at")

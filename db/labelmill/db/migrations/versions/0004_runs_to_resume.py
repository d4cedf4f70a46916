"""What a run was submitted of and how, so that it can be resumed; and how many rows it rejected.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("plan", sa.JSON(), nullable=True))
    op.add_column(
        "runs", sa.Column("rejected", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )


def downgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("rejected")
        runs.drop_column("plan")

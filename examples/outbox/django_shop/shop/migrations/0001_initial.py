"""Create the table of orders, and the outbox."""

from __future__ import annotations

from django.db import migrations, models

from eventbridge_partner.outbox import PostgresOutbox


class Migration(migrations.Migration):
    """The first tables."""

    initial = True
    operations = [
        migrations.CreateModel(
            "Order",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("customer", models.CharField(max_length=40)),
                ("number", models.IntegerField(unique=True)),
            ],
        ),
        # When a release changes the schema, add a migration with schema_sql(since=1).
        migrations.RunSQL(PostgresOutbox().schema_sql()),
    ]

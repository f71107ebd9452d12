"""The tables of the shop, including its outbox."""

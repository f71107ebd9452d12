"""The tables of the shop, its outbox among them."""

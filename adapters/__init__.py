"""Adapters: each moves parcels over one protocol and knows nothing of messages (``exchange.ports.Adapter``)."""

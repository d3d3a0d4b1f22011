"""Stores: durable state and its journal behind ``exchange.ports.Store``; chosen by name."""

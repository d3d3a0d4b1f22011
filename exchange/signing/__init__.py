"""Signatures: profiles, certificates, and enveloped XML signatures split into prepare / sign / assemble."""

"""The switch: knows messages; knows no protocol and no adapter.

The rooms stand on floors, and a room imports only from floors below its own (docs/explanation/architecture.md
draws them; the import contracts in setup.cfg enforce them)::

    floor 6   service  control          start, reload, drain, stop; what switchctl does
    floor 5   switch                    take -> sort -> send: the only room that waits on store and adapter
    floor 4   intake                    examine a parcel, decide a message: pure
    floor 3   catalogue  routing  receipts  signing  formats
    floor 2   ports  lanes              what we ask of the world; what waits for one endpoint
    floor 1   model  lifecycle  retry   values and tables
    floor 0   errors                    whose fault is it?
"""

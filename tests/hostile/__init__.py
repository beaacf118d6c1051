"""The catalogue of hostile inputs and faults as tests: one file a section, the row's ID in each name."""

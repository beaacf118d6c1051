"""The catalogue of hostile inputs as tests: one file a section, the row's ID in each name."""

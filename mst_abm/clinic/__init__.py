"""The clinic: patients, donors, doses and what a drug's level does in time. Reads no files."""

"""What users ask of guests, and what agents and operators report about them."""

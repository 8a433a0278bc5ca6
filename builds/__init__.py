"""How source becomes an image: contexts, identities, builders, and the settling of builds."""

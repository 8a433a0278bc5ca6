"""knative-lambda: a function's source in by event, a running Knative Service out.

The rooms (`handler`, `builds`, `storage`, `deploy`, `schemas`, `client`) lie at the root of the
repository; the links beside this file give them one importable name, so that nothing generic is
put into the environment of whoever installs the product.
"""

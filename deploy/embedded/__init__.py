"""The cluster's part of the embedded mode: port adapters that need no cluster.

`objects.py` is the API server, `serving.py` Knative Serving, `eventing.py` Knative Eventing, each as far as its callers
can see. Rules of the product have no place here.
"""

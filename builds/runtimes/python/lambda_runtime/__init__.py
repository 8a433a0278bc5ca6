"""What turns a folder of Python files into a server of CloudEvents; `serve.py` joins the parts.

Only the standard library is imported here, so that whatever a function requires stays its own. Python 3.9 suffices.
"""

"""Clients as they are: what each sends, byte for byte where it matters, and how it reads what comes back.

A client is a module here with a CLIENT (or several CLIENTS): adding one is adding a file. They run against a gateway
whose model says "Hello world", over real sockets. `python -m tests.clients` prints what came of it.
"""

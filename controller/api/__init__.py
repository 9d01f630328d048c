"""The HTTP side of the controller: REST, worker protocol, sign-in and the pages' addresses."""

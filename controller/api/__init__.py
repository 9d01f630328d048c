"""The HTTP side of the controller: REST, worker protocol, sign-in and the routes of the pages."""

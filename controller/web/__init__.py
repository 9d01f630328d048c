"""The page's templates, style, script and figures. Knows the data it is given, not HTTP and not the database."""

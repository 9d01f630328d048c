"""The pages: each reads what it shows and fills a template."""

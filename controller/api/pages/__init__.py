"""The pages: each reads what it shows and fills a template.

Plain forms change things. With a session's cookie every change has to come from this origin
(`security.access.check_same_origin`), so no page checks that itself.
"""

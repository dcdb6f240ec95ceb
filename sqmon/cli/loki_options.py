"""The options that say where a Loki is, and as whom to ask it."""

from __future__ import annotations

import argparse

from sqmon.config import converters, options
from sqmon.delivery.loki_access import Access

OPTIONS = (
    options.Option("loki_tenant", "", "tenant, where Loki has several (X-Scope-OrgID)", str),
    options.Option("loki_user", "", "user for basic authentication", str),
    options.Option("loki_password", "", "its password; other users can see it in ps, so better use --loki_password_file", str),
    options.Option("loki_password_file", None, "file that contains the password", converters.path, metavar="FILE"),
    options.Option("loki_token", "", "bearer token; other users can see it in ps, so better use --loki_token_file", str),
    options.Option("loki_token_file", None, "file that contains the token; read again for each query", converters.path, metavar="FILE"),
    options.Option("loki_ca_file", None, "certificates to trust instead of the system's", converters.path, metavar="FILE"),
)


def access_of(args: argparse.Namespace) -> Access:
    """Return what the options say; `--loki_url` must be one of them."""
    secrets = (args.loki_password, args.loki_password_file, args.loki_token, args.loki_token_file)
    return Access(args.loki_url, args.loki_tenant, args.loki_user, *secrets, args.loki_ca_file)

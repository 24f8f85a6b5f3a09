# SPDX-License-Identifier: Apache-2.0
"""One result, many forms: plain dicts for JSON, lines for people."""

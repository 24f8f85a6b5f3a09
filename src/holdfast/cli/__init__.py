# SPDX-License-Identifier: Apache-2.0
"""The command line: one module per verb, imported when that verb is called."""

"""The rules: steering in an nftables table of our own, ACCEPT in whatever ruleset drops."""

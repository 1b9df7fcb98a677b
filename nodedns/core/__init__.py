"""PURE: decides. Imports no os, socket, time, subprocess, asyncio; time is an argument."""

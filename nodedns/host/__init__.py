"""ROOT. The only room that changes the machine; it runs in a short-lived child, so that its memory goes away again."""

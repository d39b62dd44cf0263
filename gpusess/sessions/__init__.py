"""The life of a session, from the intent to launch to its end: states, store, driver, money, views."""

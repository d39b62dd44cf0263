"""The screens: Fleet, Run and Logs. Each arranges panes and hands them the scene."""

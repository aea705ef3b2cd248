"""Entry points: `search`, `Session`, `replay`, the scikit-learn estimators, and the directories that they write.

They open the report and the live page, so they may import everything except the commands.
"""

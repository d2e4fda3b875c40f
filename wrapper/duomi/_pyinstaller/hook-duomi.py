"""The clip of the simulator belongs into the bundle."""

from PyInstaller.utils.hooks import collect_data_files

datas = collect_data_files("duomi", includes=["*.mp4"])

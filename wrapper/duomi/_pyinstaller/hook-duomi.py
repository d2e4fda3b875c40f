"""What belongs into the bundle although no import statement names it: modules loaded at first use, and a clip."""

from PyInstaller.utils.hooks import collect_data_files

from duomi import _AT_FIRST_USE

hiddenimports = list(_AT_FIRST_USE.values())
datas = collect_data_files("duomi", includes=["*.mp4"])

"""Groovy that does in a QuPath without a window what "Run for project" does in its script editor.

The loop is that of ``DefaultScriptEditor.ProjectTask`` in QuPath 0.5.1 and 0.7.0: an image that cannot be
opened never runs the script, and the index counts on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

_LOOP = """
import qupath.lib.gui.scripting.QPEx
import qupath.lib.gui.scripting.languages.GroovyLanguage
import qupath.lib.projects.ProjectIO
import qupath.lib.scripting.ScriptParameters

def run = { String place, List names, String script, List args, String killAt, int pause ->
    def project = ProjectIO.loadProject(new File(place), java.awt.image.BufferedImage)
    def entries = names.collect { name -> project.getImageList().find { it.getImageName() == name } }
    def output = System.out
    boolean killed = false
    entries.eachWithIndex { entry, index ->
        try {
            if (killed)
                Thread.sleep(pause * 1000)
            def data = entry.readImageData()
            def lines = new StringBuilder()
            def here = Thread.currentThread()
            def writer = new Writer() {
                void write(char[] text, int from, int size) {
                    output.print(new String(text, from, size))
                    lines.append(text, from, size)
                    if (killAt && lines.indexOf(killAt) >= 0) {
                        lines.setLength(0)
                        killed = true
                        here.interrupt()
                    }
                }
                void flush() { output.flush() }
                void close() {}
            }
            def params = ScriptParameters.builder().setWriter(writer).setErrorWriter(writer)
                .setFile(new File(script)).setProject(project).setImageData(data)
                .setBatchIndex(index).setBatchSize(entries.size())
                .setBatchSaveResult(true).setArgs(args as String[]).setDefaultImports(QPEx.getCoreClasses())
                .setDefaultStaticImports([QPEx]).build()
            try {
                GroovyLanguage.getInstance().execute(params)
            } catch (javax.script.ScriptException e) {
                output.println("ERROR: " + e.getLocalizedMessage())
            }
            entry.saveImageData(data)
            data.getServer().close()
        } catch (Exception e) {
            output.println("Error running batch script: " + e)
        }
    }
    output.println("END OF BATCH")
}
"""


def batch(
    project: Path, images: Sequence[str], script: Path, *args: str, kill_at: str = "", pause: int = 0
) -> str:
    """One batch as Groovy.

    kill_at : the script is interrupted when it prints this text.
    pause   : seconds that opening an image takes from then on.
    """
    given = [str(project / "project.qpproj"), list(images), str(script), list(args), kill_at, pause]
    return f"run({', '.join(json.dumps(one, ensure_ascii=True) for one in given)})\n"


def batches(*runs: str) -> str:
    """A whole script of several batches, one after the other in one Java."""
    return _LOOP + "\n".join(runs)

"""River's detectors on streams of labelled errors, at their defaults.

Takes a file of one byte for each label, the number of labels of a stream and of those before the change, and prints a line of
JSON for every detector: for each stream the labels after the change until the first alarm there (null where there is none),
how many alarms came before, and over how many labels.
"""

import json
import sys

import numpy
from river import drift

path, length, before = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
streams = numpy.fromfile(path, dtype=numpy.uint8).reshape(-1, length)
detectors = {
    "ADWIN": drift.ADWIN,
    "Page–Hinkley": drift.PageHinkley,
    "DDM": drift.binary.DDM,
    "EDDM": drift.binary.EDDM,
    "HDDM_A": drift.binary.HDDMA,
    "HDDM_W": drift.binary.HDDMW,
}
for name, make in detectors.items():
    delays, early = [], 0
    for stream in streams:
        # It goes on after an alarm as it is made to.
        detector, delay = make(), None
        for place, error in enumerate(stream):
            detector.update(bool(error))
            if detector.drift_detected:
                if place >= before:
                    delay = place - before + 1
                    break
                early += 1
        delays.append(delay)
    print(json.dumps({"detector": name, "delays": delays, "early": early, "before": before * len(streams)}))

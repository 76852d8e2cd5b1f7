"""The human study (V-C): what the answers of the survey say of Fig. 16 and Fig. 17.

In: the answer files that the survey's page wrote. Out: an `Outcome` for each of the two figures.
"""
import numpy as np

from scripts.pages.survey_answers import each_answer
from scripts.paper.survey_figures import over_distortion, over_intensity

COLUMNS = [("participant", int), ("part", "U10"), ("theta", float), ("distortion", float),
           ("digit", bool), ("right", bool)]


def human_study(files):
    """What the answer files say: {"fig16": Outcome, "fig17": Outcome}.

    Without files they hold the paper's values only. "Right" is the share, of all answers, that name
    the digit's own class. The 95 % intervals treat a participant as one draw. Raises ValueError or
    OSError as `read_answers` does.
    """
    table = np.fromiter(map(_row, each_answer(files)), COLUMNS)
    return {"fig16": over_distortion(table), "fig17": over_intensity(table)}


def _row(answer):
    """The `COLUMNS` of an answer."""
    theta = np.nan if answer.theta is None else answer.theta
    return (answer.participant, answer.part, theta, answer.distortion, answer.is_digit,
            answer.digit == answer.label)

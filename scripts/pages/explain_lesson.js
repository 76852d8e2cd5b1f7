// The lesson: eight steps, each with a question that is answered before the page shows it. A step
// is {title, text: [paragraph, …], question, choices, right: its number, why, to: section}; show()
// brings up what it is about, settings() are those of the attack that it needs. All others, and all
// when the lesson is left, are the reader's own.
const LESSON = [
  {title: "What is a forward derivative?", to: "attack",
   text: ["A network F turns 784 pixels into ten scores, the logits; the largest one is what it " +
          "reads.",
          "The forward derivative ∂F_j/∂x_i says how much score j gains if pixel i grows a " +
          "little. All of them together are a table of 10 × 784 numbers, the Jacobian."],
   question: "The network is to read another digit, the target. Which row of the table matters " +
             "most?",
   choices: ["the row of the target: what its score gains from each pixel",
             "the row of what is read now", "the column of the darkest pixel"], right: 0,
   why: "Its numbers are called α in section 2. The other nine rows matter " +
        "too; their sum is β.", show: () => go(0)},
  {title: "Why do the windows grow?", to: "grow",
   text: ["A unit of the first convolution looks at 5×5 pixels. Its derivative is the kernel " +
          "itself.",
          "A unit of the second convolution looks at 5×5 units of the layer before it, and each of " +
          "these has a window of its own."],
   question: "After pooling 2×2, a unit sees 6×6 pixels, and neighbours start 2 pixels apart. How " +
             "many does a unit of the second convolution see?",
   choices: ["10 × 10", "14 × 14", "28 × 28"], right: 1,
   why: "6 + 4·2 = 14: four more neighbours, each 2 pixels further on. From the first fully " +
        "connected layer on every unit sees all 28×28.", show: () => choose({layer: "conv2"})},
  {title: "Why does max-pooling pick?", to: "grow",
   text: ["Max-pooling passes on the largest of four units. If another one grows a little, the " +
          "largest stays the largest.",
          "So in Eq. 5 its weight is 1 for the winner and 0 for the other three."],
   question: "On the black background all four are equal. Whose derivative counts?",
   choices: ["none of them", "the mean of the four", "the first one's, row by row"], right: 2,
   why: "The rule here, as in PyTorch: the first of equals wins. A check by differences would see " +
        "a half or a quarter there.", show: () => choose({layer: "pool1"})},
  {title: "Why are single pixels too strict?", to: "attack",
   text: ["Eq. 8 asks of one pixel two things at once: the target must gain (α > 0), and the " +
          "others must lose in sum (β < 0).",
          "Its score is the product |α|·|β|. Look at the saliency map: most pixels fail one of " +
          "the two."],
   question: "A pixel lifts the target a lot, but lifts the others a little, too. Its score is …",
   choices: ["high", "zero", "negative"], right: 1,
   why: "Zero, however much the target gains. That is what pairs are for.", show: () => go(0)},
  {title: "Two together: Eq. 10", to: "attack",
   text: ["A pair adds up the two α and the two β, and asks the two things of the sums only. One " +
          "pixel may make up for what the other lacks.",
          "In the plane of dots a pair is the middle of a line between two dots."],
   question: "How many pairs of 784 pixels are there?",
   choices: ["1,568", "306,936", "614,656"], right: 1,
   why: "784·783/2. All of them are compared in each iteration; section 2 says how this takes less " +
        "than a millisecond.", show: () => go(0)},
  {title: "Why logits?", to: "attack",
   text: ["The softmax turns scores into probabilities, which add up to 1. What one gains the " +
          "others must lose.",
          "So for probabilities β = −α at every pixel: the plane becomes a diagonal."],
   question: "What is left of Eq. 10 then?",
   choices: ["the two pixels with the largest α", "nothing, no pair qualifies", "all pairs tie"],
   right: 0, why: "β says nothing new, so the two largest α win. The paper reads the logits.",
   settings: () => ({of: "probabilities"})},
  {title: "What does Γ do?", to: "attack",
   text: ["Γ holds the pixels that may still be chosen, at the start all of them. With θ = 1 a " +
          "chosen pixel is full of ink at once.",
          "A pixel leaves Γ when it has reached 0 or 1."],
   question: "With θ = 0.3, how often can an empty pixel be chosen at most?",
   choices: ["once", "four times", "as often as one likes"], right: 1,
   why: "0.3, 0.6, 0.9, then 1: it has reached 1 and leaves. Now more iterations are needed, and " +
        "each changes less.", settings: () => ({of: "logits", theta: 0.3 * sign()})},
  {title: "What do the digit's neighbours look like?", to: "what-if",
   text: ["Change one pixel and you have a neighbour of the digit: 784 directions to go. Near by, " +
          "the derivative foretells the scores of all of them, as if F were a plane.",
          "Far away the network bends: the activation flattens, and other units win their " +
          "max-pooling."],
   question: "A whole pixel is switched on. Is the forecast exact?",
   choices: ["yes, that is what a derivative is", "no, it is exact for small changes only",
             "only for the target"], right: 1,
   why: "That is why Algorithm 2 computes it anew in every iteration. Move the slider and see where " +
        "it breaks. That was the lesson: now draw a digit of your own.",
   settings: () => ({theta: sign()})},
];
const lesson = {step: 0, answered: [], own: null};  // own: the reader's {of, theta}

function useSettings(wanted) {
  if (Object.keys(wanted).some(name => page[name] !== wanted[name])) set(wanted);
  showSettings();
}

function openLesson(step) {
  lesson.step = step;
  $("#lesson").hidden = false;
  lesson.own ??= {of: page.of, theta: page.theta};
  const {show, settings, to} = LESSON[step];
  useSettings({...lesson.own, ...settings?.()});
  show?.();
  scrollTo_(to);
  showLesson();
  $("#lesson-title").focus({preventScroll: true});
}

function showLesson() {
  const {title, text, question, choices} = LESSON[lesson.step], last = lesson.step + 1;
  $("#lesson-title").textContent = `${last} of ${LESSON.length}. ${title}`;
  $("#lesson-text").replaceChildren(...text.map(paragraph => make("p", withSubscripts(paragraph))));
  $("#lesson-question").textContent = question;
  const rows = choices.map((choice, n) => {
    const input = make("input", [], {type: "radio", name: "choice", value: n});
    input.checked = lesson.answered[lesson.step] === n;
    input.onchange = () => { lesson.answered[lesson.step] = n; showAnswer(); };
    return make("label", [input, ` ${choice}`]);
  });
  $("#lesson-choices").replaceChildren($("#lesson-question"), ...rows);
  $("#lesson-before").disabled = lesson.step === 0;
  $("#lesson-next").textContent = last === LESSON.length ? "Finish" : "Next";
  showAnswer();
}

function showAnswer() {
  const {right, why} = LESSON[lesson.step], answered = lesson.answered[lesson.step];
  $("#lesson-next").disabled = answered === undefined;
  $("#lesson-answer").textContent = answered === undefined ? "" :
    `${answered === right ? "Yes." : "Not quite."} ${why}`;
}

function closeLesson() {
  $("#lesson").hidden = true;
  useSettings(lesson.own);
  lesson.own = null;
  $("#lesson-open").focus({preventScroll: true});
}

$("#lesson-open").onclick = () => openLesson(lesson.step);
$("#lesson-close").onclick = closeLesson;
$("#lesson-before").onclick = () => openLesson(lesson.step - 1);
$("#lesson-next").onclick = () => {
  if (lesson.step + 1 < LESSON.length) return openLesson(lesson.step + 1);
  lesson.step = 0;
  closeLesson();
};
$("#lesson").addEventListener("keydown", event => { if (event.key === "Escape") closeLesson(); });

const setHydrationState = (state, label = '', explanation = '') => {
  document.documentElement.dataset.life = state;
  const line = document.querySelector('.connection');
  if (!line) return;
  if (label) line.dataset.state = state;
  const [labelElement, explanationElement] = line.querySelectorAll('.of-life');
  labelElement.textContent = label;
  explanationElement.textContent = explanation;
};
const formsWork = 'Its buttons and forms work all the same; what is new is there when you load the page again.';
const showLate = () => {
  if (document.documentElement.dataset.life === 'starting') setHydrationState('late', 'Not live yet', `A part of this page is still on its way. ${formsWork}`);
};
setHydrationState('starting');
setTimeout(showLate, 5000);

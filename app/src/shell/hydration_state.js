const setHydrationState = (state, label = '', explanation = '') => {
  document.documentElement.dataset.hydration = state;
  const line = document.querySelector('.connection');
  if (!line) return;
  if (label) line.dataset.state = state;
  const [labelElement, explanationElement] = line.querySelectorAll('.hydration-text');
  labelElement.textContent = label;
  explanationElement.textContent = explanation;
};
const formsWork = 'Its buttons and forms work all the same; what is new is there when you load the page again.';
const showSlow = () => {
  if (document.documentElement.dataset.hydration === 'loading') setHydrationState('slow', 'Not live yet', `A part of this page is still on its way. ${formsWork}`);
};
setHydrationState('loading');
setTimeout(showSlow, 5000);

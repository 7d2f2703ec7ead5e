const life = (state, word = '', more = '') => {
  document.documentElement.dataset.life = state;
  const line = document.querySelector('.connection');
  if (!line) return;
  if (word) line.dataset.state = state;
  const [said, besides] = line.querySelectorAll('.of-life');
  said.textContent = word;
  besides.textContent = more;
};
const stillWorks = 'Its buttons and forms work all the same; what is new is there when you load the page again.';
const isLate = () => {
  if (document.documentElement.dataset.life === 'starting') life('late', 'Not live yet', `A part of this page is still on its way. ${stillWorks}`);
};
life('starting');
setTimeout(isLate, 5000);

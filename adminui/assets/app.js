// Refreshes the parts of a page that are marked with data-live. Without this script a page stays as it is.
'use strict';
(() => {
  const every = 5000;
  const parts = () => document.querySelectorAll('[data-live]');
  const box = document.getElementById('live');
  if (parts().length > 0) {
    box.closest('label').hidden = false;
    box.checked = sessionStorage.getItem('live') !== 'off';
    box.addEventListener('change', () => sessionStorage.setItem('live', box.checked ? 'on' : 'off'));
  }
  const refresh = async () => {
    const busy = [...parts()].some((part) => part.contains(document.activeElement));
    if (!box.checked || document.hidden || busy || !getSelection().isCollapsed) {
      return;
    }
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
    if (!answer.ok) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const part of parts()) {
      const next = fresh.getElementById(part.id);
      if (next && next.innerHTML !== part.innerHTML) {
        part.replaceChildren(...next.childNodes);
      }
    }
  };
  if (parts().length > 0) {
    setInterval(() => refresh().catch(() => {}), every);
  }

  // One box selects all rows of a table.
  for (const head of document.querySelectorAll('th.check')) {
    const all = document.createElement('input');
    all.type = 'checkbox';
    all.setAttribute('aria-label', 'Select all rows');
    all.addEventListener('change', () => {
      for (const row of head.closest('table').querySelectorAll('td.check input')) {
        row.checked = all.checked;
      }
    });
    head.replaceChildren(all);
  }
})();

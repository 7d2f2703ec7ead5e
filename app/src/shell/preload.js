{
  const { script, wasm } = document.currentScript.dataset;
  for (const attributes of [{ rel: 'preload', as: 'fetch', href: wasm }, { rel: 'modulepreload', href: script }]) {
    document.head.append(Object.assign(document.createElement('link'), { crossOrigin: '', fetchPriority: 'low', ...attributes }));
  }
}

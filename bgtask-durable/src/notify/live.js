// <bgtask-progress src="/jobs/TICKET/events">: a bar and a text. Dispatches `bgtask-event` for each state, then
// `bgtask-end`, or `bgtask-error`.
customElements.define("bgtask-progress", class extends HTMLElement {
  static observedAttributes = ["src"];

  connectedCallback() {
    if (!this.bar) {
      const child = (tag) => this.querySelector(tag) ?? this.appendChild(document.createElement(tag));
      this.bar = child("progress");
      this.text = child("span");
      this.role = "progressbar";
      this.ariaValueMin = 0;
      this.ariaValueMax = 100;
      if (!this.ariaLabel && !this.hasAttribute("aria-labelledby")) this.ariaLabel = "Progress";
    }
    this.open();
  }

  disconnectedCallback() {
    this.close();
  }

  attributeChangedCallback() {
    this.version = undefined;
    if (this.bar && this.isConnected) this.open();
  }

  open() {
    this.close();
    const src = this.getAttribute("src");
    if (!src) return;
    const url = new URL(src, document.baseURI);
    if (this.version !== undefined) url.searchParams.set("after", this.version);
    const source = this.source = new EventSource(url);
    source.onopen = () => { this.delay = 0; this.removeAttribute("data-away"); };
    source.onmessage = (message) => this.show(JSON.parse(message.data));
    source.onerror = () => {
      this.toggleAttribute("data-away", true);
      // It gives up at any answer but a stream.
      if (source.readyState === EventSource.CLOSED) this.ask(url, source);
    };
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
  }

  async ask(url, source) {
    url.pathname = url.pathname.replace(/\/events$/, "");
    const status = await fetch(url).then((answer) => answer.status, () => 0);
    if (source !== this.source) return;
    if ([403, 404, 410].includes(status)) {
      this.close();
      this.tell("bgtask-error", { status });
    } else {
      this.delay = Math.min(30000, (this.delay || 1000) * 2);
      this.timer = setTimeout(() => this.open(), this.delay * (0.5 + Math.random() / 2));
    }
  }

  show(job) {
    const isEnd = /^(done|dead|cancelled)$/.test(job.state);
    if (!isEnd && job.version <= this.version) return;
    this.version = job.version;
    const part = job.state === "done" ? 1 : job.progress?.fraction;
    const text = (!isEnd && job.progress?.message) || job.state;
    this.dataset.state = job.state;
    if (part === undefined) {
      this.bar.removeAttribute("value");
      this.ariaValueNow = null;
      this.ariaValueText = text;
    } else {
      this.bar.value = part * this.bar.max;
      this.ariaValueNow = Math.round(part * 100);
      this.ariaValueText = `${this.ariaValueNow} %, ${text}`;
    }
    this.text.textContent = text;
    if (isEnd) this.close();
    this.tell("bgtask-event", job);
    if (isEnd) this.tell("bgtask-end", job);
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }
});

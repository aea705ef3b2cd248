// Browsers start no worker from a folder (file:), so there the site's search works in a hidden frame.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(script) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      const code = this.inside.document.createElement("script")
      this.begun = new Promise((resolve) => (code.onload = resolve))
      code.src = script
      this.inside.document.body.append(code)
    }
    postMessage(data) {
      this.begun.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }

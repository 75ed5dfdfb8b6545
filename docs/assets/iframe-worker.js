// A page that was opened from a file may not start a worker, in which searching is done. A hidden frame does its work.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.inner = new Promise(started => {
        frame.onload = () => {
          const inner = frame.contentWindow
          inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
          const script = inner.document.createElement("script")
          script.onload = () => started(inner)
          script.src = url
          inner.document.head.append(script)
        }
      })
      frame.srcdoc = "<!doctype html>"
      document.body.append(frame)
    }

    postMessage(data) {
      this.inner.then(inner => inner.dispatchEvent(new MessageEvent("message", { data })))
    }
  }

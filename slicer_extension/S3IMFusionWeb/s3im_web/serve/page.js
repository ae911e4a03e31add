// Send the chosen file to the session; the session reports its progress by the page's state.
window.trame.utils.s3imUpload = async (side, input) => {
  const file = input.files[0];
  if (!file) return;
  input.value = "";
  try {
    const answer = await fetch(`upload/${side}`, {
      method: "POST",
      body: file,
      headers: { "Content-Type": "application/octet-stream", "X-File-Name": encodeURIComponent(file.name) },
    });
    if (answer.status === 401) window.location.reload();
  } catch {
    window.trame.state.set("message", "The upload was broken off: try again, with a file of the allowed size.");
  }
};

// trame's page forbids to zoom, leaves the pictures without a text, and Vuetify its slider and icons without a name.
document.querySelector("meta[name=viewport]").content = "width=device-width, initial-scale=1";
const describe = () => {
  for (const view of document.querySelectorAll(".layout-grid-item")) {
    const label = view.querySelector(".s3im-view")?.textContent.trim();
    for (const image of view.querySelectorAll("img")) if (label && image.alt !== label) image.alt = label;
  }
  const slider = document.querySelector("[role=slider]:not([aria-label])");
  slider?.setAttribute("aria-label", "Fade from A over fused to B");
  for (const icon of document.querySelectorAll(".v-input [role=button]:not([aria-label]), .v-input button:not([aria-label])")) {
    const label = icon.closest(".v-input").querySelector("label")?.textContent.trim();
    if (label) icon.setAttribute("aria-label", `${label}: choose`);
  }
};
new MutationObserver(describe).observe(document.documentElement, { childList: true, subtree: true });

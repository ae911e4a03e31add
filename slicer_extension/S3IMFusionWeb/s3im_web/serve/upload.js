// Send the chosen file to the session; what becomes of it, the session tells by the page's state.
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

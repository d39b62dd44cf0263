// The one button of the page: a tab whose app has ended begins anew.
document.getElementById("again").addEventListener("click", () => window.location.reload());

// Keys go to the app as soon as it draws, without a click before.
const takeKeys = () => document.querySelector(".xterm-helper-textarea")?.focus();
new MutationObserver(takeKeys).observe(document.body, { attributeFilter: ["class"] });
window.addEventListener("focus", takeKeys);

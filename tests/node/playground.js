// Uses the playground as two people would. Arguments: its URL, Chromium's path, where the screenshot goes.
// Prints one line of JSON: what was seen.
'use strict';
const { chromium } = require('playwright-core');

async function main([url, executablePath, screenshot]) {
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  page.setDefaultTimeout(20000);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(url);

  const clients = page.locator('.client');
  await clients.nth(1).waitFor();
  for (const [index, user] of ['7', 'ada'].entries()) {
    const client = clients.nth(index);
    await client.locator('form.connect select[name=tenant]').selectOption('acme');
    await client.locator('input[name=user]').fill(user);
    await client.locator('.toggle').click();
    await client.locator('.state-text', { hasText: /^connected/i }).waitFor();
  }

  await page.locator('#publish-form select[name=tenant]').selectOption('acme');
  await page.locator('#publish-form button[type=submit]').click();
  const events = [];
  for (const index of [0, 1]) {
    const event = clients.nth(index).locator('.events li', { hasText: 'record:created' }).first();
    await event.waitFor();
    events.push(await event.innerText());
  }

  const number = (name) => clients.nth(0).locator(`.number[data-name=${name}] .value`);
  const moves = async (name, from) =>
    page.waitForFunction(
      ([name, from]) => {
        const text = document.querySelector(`.client .number[data-name=${name}] .value`).textContent;
        return /\d/.test(text) && text !== from;
      },
      [name, from],
    );
  await moves('api_requests', '–');
  const before = await number('api_requests').innerText();
  await page.locator('#publish-many').click();
  await moves('api_requests', before);
  const after = await number('api_requests').innerText();
  const people = await clients.nth(0).locator('.people').innerText();

  await page.screenshot({ path: screenshot, fullPage: true });
  await browser.close();
  console.log(JSON.stringify({ events, before, after, people, errors }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});

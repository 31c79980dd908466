// Draws /openapi.json. Everything is written as text, never as HTML.
"use strict";

const METHODS = ["post", "get", "put", "patch", "delete"];

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Words between backticks are code.
function prose(text) {
  const made = element("span");
  text.split("`").forEach((part, place) => made.append(place % 2 ? element("code", {}, part) : part));
  return made;
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  const lines = rows.map(({ id, cells }) =>
    element("tr", id ? { id } : {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("div", { class: "scroll" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
}

function referred(schema) {
  return schema.$ref ? schema.$ref.split("/").pop() : null;
}

function typeOf(schema) {
  if (!schema || Object.keys(schema).length === 0) return "any";
  const name = referred(schema);
  if (name) return element("a", { href: `#schema-${name}` }, name);
  const either = schema.anyOf || schema.oneOf || schema.allOf;
  if (either) return joined(either.map(typeOf), " or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.type === "array") return joined(["list of ", typeOf(schema.items)], "");
  return [schema.type, schema.format && `(${schema.format})`].filter(Boolean).join(" ");
}

function joined(parts, between) {
  const made = element("span");
  parts.forEach((part, place) => made.append(place ? between : "", part));
  return made;
}

function bounds(schema) {
  const all = [schema, ...(schema.anyOf || [])];
  const signs = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<",
    minLength: "at least, characters:", maxLength: "at most, characters:",
    minItems: "at least, items:", maxItems: "at most, items:" };
  return all.flatMap((one) => Object.entries(signs).filter(([name]) => name in one)
    .map(([name, sign]) => `${sign} ${one[name]}`)).join(", ");
}

function fieldRow(name, schema, required) {
  const told = [schema.description, bounds(schema)].filter(Boolean).join(" — ");
  const fallback = "default" in schema ? JSON.stringify(schema.default) : required ? "required" : "";
  return { cells: [element("code", {}, name), typeOf(schema), element("code", {}, fallback), prose(told)] };
}

function fields(schema) {
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {})
    .map(([name, one]) => fieldRow(name, one, required.has(name)));
  return table(["Field", "Type", "Default", "Meaning"], rows);
}

function example(path, { summary, value }) {
  const body = JSON.stringify(value, null, 2);
  const command = `curl -sS ${location.origin}${path} \\\n  -H "Authorization: Bearer $API_KEY" \\\n`
    + `  -H "Content-Type: application/json" \\\n  -d '${body.replaceAll("'", "'\\''")}'`;
  return element("details", {}, element("summary", {}, summary), element("pre", {}, command));
}

function answers(responses) {
  const rows = Object.entries(responses).map(([status, one]) => {
    const content = Object.entries(one.content || {});
    const types = content.map(([type, { schema }]) =>
      joined(schema && Object.keys(schema).length ? [typeOf(schema), ` as ${type}`] : [type], ""));
    return { cells: [element("code", {}, status === "default" ? "else" : status),
      joined(types, ", "), prose(one.description || "")] };
  });
  return table(["Status", "Body", "When"], rows);
}

function described(parameter) {
  return { description: parameter.description, ...parameter.schema };
}

function operation(path, method, one) {
  const title = element("h3", {}, element("span", { class: `method ${method}` },
    method.toUpperCase()), element("code", { class: "path" }, path));
  const made = element("article", { id: one.operationId }, title,
    element("p", {}, prose(one.description || one.summary || "")));
  const body = one.requestBody && one.requestBody.content["application/json"];
  if (body) made.append(element("h4", {}, "Body"), element("p", {}, typeOf(body.schema)),
    ...Object.values(body.examples || {}).map((shown) => example(path, shown)));
  if (one.parameters) made.append(element("h4", {}, "Parameters"), table(
    ["Name", "In", "Type", "Default", "Meaning"], one.parameters.map((parameter) => {
      const [name, type, fallback, told] =
        fieldRow(parameter.name, described(parameter), parameter.required).cells;
      return { cells: [name, parameter.in, type, fallback, told] };
    })));
  made.append(element("h4", {}, "Answers"), answers(one.responses));
  if (!one.security) made.append(element("p", { class: "soft" }, "Needs no key."));
  return made;
}

function errors(list) {
  return table(["Code", "Status", "Meaning"], list.map((one) => ({ id: `error-${one.code}`,
    cells: [element("code", {}, one.code), String(one.status), prose(one.sentence)] })));
}

function draw(described) {
  const main = document.getElementById("main");
  const contents = document.getElementById("contents");
  const link = (target, text) => contents.append(element("a", { href: `#${target}` }, text));
  const part = (text) => {
    const id = text.toLowerCase();
    main.append(element("h2", { id }, text));
    contents.append(element("a", { href: `#${id}` }, element("strong", {}, text)));
  };
  document.getElementById("summary").textContent =
    `${described.info.summary}. Version ${described.info.version}.`;
  part("Keys");
  main.append(element("p", {}, "Send your key with every request: ",
    element("code", {}, "Authorization: Bearer gk_…"), ". The description itself: ",
    element("a", { href: "openapi.json" }, "openapi.json"), "."));
  part("Routes");
  for (const [path, item] of Object.entries(described.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      main.append(operation(path, method, item[method]));
      link(item[method].operationId, `${method.toUpperCase()} ${path}`);
    }
  }
  part("Schemas");
  for (const [name, schema] of Object.entries(described.components.schemas)) {
    main.append(element("article", { id: `schema-${name}` }, element("h3", {}, name),
      element("p", {}, prose(schema.description || "")), schema.enum ? typeOf(schema) : fields(schema)));
    link(`schema-${name}`, name);
  }
  part("Errors");
  main.append(errors(described["x-error-codes"]));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(response.status)))
  .then(draw)
  .catch((reason) => {
    document.getElementById("summary").textContent = `openapi.json cannot be read: ${reason}`;
  });

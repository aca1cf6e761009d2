import { findingsOf, type Finding } from './findings.js';
import type { GateResult } from './result.js';

/** JUnit XML: a suite per gate, a test case per check and per metric of the baseline. No times: equal results are equal bytes. */
export function junitXml(results: readonly GateResult[]): string {
  const suites = results.map((result) => {
    const findings = findingsOf(result);
    const failures = findings.filter(({ fatal }) => fatal).length;
    return [`  <testsuite name="${escape(result.gate.name)}" file="${escape(result.gate.file)}" tests="${findings.length}" failures="${failures}">`, ...findings.flatMap(testCase), '  </testsuite>'];
  });
  return `${['<?xml version="1.0" encoding="UTF-8"?>', '<testsuites name="dynotwin regress">', ...suites.flat(), '</testsuites>'].join('\n')}\n`;
}

function testCase({ scenario, file, at, subject, expected, got, verdict, fatal }: Finding): string[] {
  const head = `    <testcase classname="${escape(scenario)}" name="${escape(subject)}" file="${escape(file)}" line="${at.line}"`;
  const text = escape(`expected ${expected}, got ${got}`);
  if (fatal) return [`${head}>`, `      <failure type="${verdict}" message="${text}"/>`, '    </testcase>'];
  return verdict === 'ok' ? [`${head}/>`] : [`${head}>`, `      <system-out>${escape(verdict)}: ${text}</system-out>`, '    </testcase>'];
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;', '\n': '&#10;', '\r': '&#13;', '\t': '&#9;' };

/** Text for an attribute or an element; what XML 1.0 cannot hold becomes U+FFFD. */
function escape(text: string): string {
  return text.replace(/[\0-\x08\x0B\x0C\x0E-\x1F\uD800-\uDFFF\uFFFE\uFFFF]/gu, '\uFFFD').replace(/[&<>"'\n\r\t]/g, (sign) => ENTITIES[sign]!);
}

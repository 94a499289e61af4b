// Reads one request a line from standard input and answers each with one line: what IAM would say, and which condition keys it
// would not have. One process for all of them: starting one costs more than a thousand answers.
import { createInterface } from 'node:readline'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const everything = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }
const named = (documents) => documents.map((policy, index) => ({ name: `policy-${index}`, policy }))

async function answer({ principal, identity, boundary, resourcePolicy, action, resource, account, context }) {
  const simulation = {
    identityPolicies: named(identity),
    serviceControlPolicies: [{ orgIdentifier: 'root', policies: named([everything]) }],
    resourceControlPolicies: [],
    resourcePolicy: resourcePolicy ?? undefined,
    permissionBoundaryPolicies: boundary ? named([boundary]) : undefined,
    request: { principal, action, resource: { resource, accountId: account }, contextVariables: context }
  }
  const found = await runSimulation(simulation, { simulationMode: 'Strict' })
  if (found.resultType === 'error') return { error: JSON.stringify(found.errors) }
  const [one] = found.resultType === 'single' ? [found.result] : found.results
  return { result: found.overallResult, ignored: one?.ignoredContextKeys ?? [] }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let said
  try {
    said = await answer(request)
  } catch (error) {
    said = { error: String(error.stack ?? error) }
  }
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
